"""From MQTT to the log: payloads become validated readings in Kafka, or stand in quarantine with a reason.

`mqtt`, `kafka` and `service` touch the network; everything else here is pure.
"""
