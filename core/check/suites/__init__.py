"""The suites: one YAML a suite, with its items beside it. Data only; finetop.core.check reads them."""
