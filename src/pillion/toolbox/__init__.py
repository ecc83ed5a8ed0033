"""Small tools that know no domain; siblings do not import each other."""
