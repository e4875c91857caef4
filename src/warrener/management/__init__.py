"""A typed client of RabbitMQ's management HTTP API, for 3.10 to 4.3.

client.py    requests, time limits, typed errors
answers.py   the parts of RabbitMQ's answers that Warrener reads
"""
