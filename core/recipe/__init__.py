"""YAML that people write, read strictly into frozen sections: recipes, sweeps, settings of a home.

Read by every process. Imports runtime and what is below it; plug-ins are asked by name.
"""
