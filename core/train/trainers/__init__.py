"""Trainers that objectives share, but for PPO's, and what answers are paid by and held to."""
