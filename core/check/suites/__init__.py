"""The suites: one YAML file per suite, with its items beside it. Data only; finetop.core.check reads them."""
