"""Which values of a settled reading go to which estimators. One file for each kind of telemetry; `twin_state.estimate`
calls them in one order, which is part of the state's definition.

A driver takes the configuration, the settled row after the reading (`f`, its identities `i`), the row's estimates `e`,
the measured time (s) and the reading's identity, by which it knows which values came with it: `latest.arrived`.
"""
