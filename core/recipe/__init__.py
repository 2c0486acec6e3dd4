"""The recipe: what a run is to do, as strict YAML read once into typed, frozen sections."""
