"""Proximal policy optimization of answers: Schulman et al. 2017 (arXiv:1707.06347), as Ouyang et al. 2022 used it.

The policy generates an answer to each prompt of a rollout. The answer's reward comes at its last token
(arXiv:2203.02155), and every token costs its divergence from the reference, the model as it began:
-coefficient * (log p - log p_ref) (arXiv:1909.08593). Advantages are estimated by generalised advantage estimation
(arXiv:1506.02438); then a few passes of optimizer steps over the rollout maximise the clipped objective.

options     the settings of a recipe
advantages  normalized rewards, each token's reward, and its advantage over the expected value
losses      the clipped losses and their metrics
policy      log-probabilities, entropies and values of answers; the reference
rollouts    answers sampled and put into batches
generation  the policy with everything that scores its answers
chance      random numbers, each derived from the seed and from the run's position
loop        the trainer, with the interface of transformers' own, its optimizer and schedule
"""
