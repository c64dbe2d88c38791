"""Prometheus: the configuration that scrapes every process, the pipeline's alarms, the document of all metrics."""
