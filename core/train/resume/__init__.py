"""What a run keeps of itself: checkpoints, the trainer's state in them, and how it is taken up again."""
