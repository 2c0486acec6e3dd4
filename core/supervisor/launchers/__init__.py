"""Where jobs run: on this machine (local) or in Slurm (slurm), behind one interface (launcher).

Runs in the supervisor; slurm_node is the keeper on a cluster's node. Imports the rooms below the supervisor.
"""
