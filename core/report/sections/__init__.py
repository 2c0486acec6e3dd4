"""The sections of a report, a file each: `TITLE`, and `blocks(told)`, which is empty where there is nothing to say.

Their order on the page stands in run_page.py. verdict.py is no section: it stands on top of the page.
"""
