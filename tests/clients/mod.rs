//! Foreign clients, run for real, in what people use them for: a file for each family.
//!
//! Mosquitto's are programs that print what they get; those of Python are small programs beside these
//! files, each run by a test of the same claim; rumqttc is called. MQTT.js has its chapter in `websocket`;
//! `load` is the project's own. None of them shares code with the broker, so what they understand is what
//! others will.

mod load;
mod mosquitto;
mod mosquitto_v5;
mod python;
mod rumqttc;
