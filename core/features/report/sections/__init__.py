"""The sections of a report: functions of a run's facts; one without blocks is left out. run_page.py has their order."""
