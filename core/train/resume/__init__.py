"""What a run saves of itself: checkpoints, the trainer's state in them, and how it resumes."""
