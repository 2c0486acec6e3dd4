"""What crosses a process boundary, as frozen structs: states, events, requests and answers.

Read by every process. Imports plugins, text and errors alone.
"""
