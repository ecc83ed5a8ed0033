"""Where the runtime meets the world: the app's requests, callbacks into the app, other sidecars."""
