"""What the Triage screen and the screens of items are made of: what they hold, how it is drawn, their keys."""
