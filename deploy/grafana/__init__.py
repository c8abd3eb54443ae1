"""The Grafana dashboards: ``python -m deploy.grafana.build`` writes them."""
