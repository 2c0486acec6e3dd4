"""Proximal policy optimization of answers: Schulman et al. 2017 (arXiv:1707.06347), as Ouyang et al. 2022 used it.

The policy generates an answer to each prompt of a rollout. The answer's reward comes at its last token
(arXiv:2203.02155), and every token costs its divergence from the reference, the model as it began:
-coefficient * (log p - log p_ref) (arXiv:1909.08593). Advantages are estimated by generalised advantage estimation
(arXiv:1506.02438); then a few passes of optimizer steps over the rollout maximise the clipped objective.
"""
