"""Grafana dashboards as code: `make dashboards` writes deploy/grafana/dashboards and docs/grafana.md.

One module a dashboard; `panels` and `frame` are what they share; thresholds come from the alerting
rules. Needs the extra `dashboards`.
"""
