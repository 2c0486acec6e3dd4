"""Will a run fit, and how long will it take: said from a recipe and a config.json, before anything is loaded."""
