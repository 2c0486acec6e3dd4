"""Trainers that several objectives share, except PPO's; the sum of rewards; attention masks."""
