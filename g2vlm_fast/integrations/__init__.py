"""The ops inside models that other libraries build; each module needs its library installed."""
