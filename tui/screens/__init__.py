"""One folder per screen; `shared` holds what several of them draw."""
