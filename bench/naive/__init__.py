"""The same jobs as a competent person first writes them: JSON, one `send` for each reading, consumer groups, `execute_values`."""
