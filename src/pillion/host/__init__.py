"""The one room that knows everything: flags, loading, life cycle."""
