"""What runs beside Millrace: dashboards, rules and routes, as code."""
