"""Supervisors on other machines: which, the way to each through the user's own ssh, and several as one."""
