"""The sections of a report, one file each: `TITLE`, and `blocks(told)`, empty if there is nothing to report.

run_page.py sets their order on the page. verdict.py is not a section: it is the top of the page.
"""
