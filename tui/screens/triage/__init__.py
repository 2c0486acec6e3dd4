"""The Triage screen and the screens of items: the data they hold, how it is drawn, and their keys."""
