//! MQTT 3.1.1, clause by clause.
