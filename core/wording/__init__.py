"""Words that the app, the command line and reports share, a file a topic.

Read by every process. Imports protocol and text alone.
"""
