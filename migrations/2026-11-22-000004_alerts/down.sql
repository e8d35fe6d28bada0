DROP TABLE alert_silences, alert_deliveries, alerts;
