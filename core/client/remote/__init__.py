"""Supervisors on other machines: their names, the link to each through the user's own ssh, and several as one."""
