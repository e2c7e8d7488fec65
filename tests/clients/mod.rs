//! Foreign clients, run for real, in what people use them for: a file for each family.
//!
//! Mosquitto's are programs that print what they get; those of Python are small programs beside these
//! files, each run by a test of the same claim, and so are those of MQTT.js, which has more in `websocket`;
//! rumqttc is called; `documented` runs the programs of `docs/clients`; `load`, and the `sealmq pub` and `sub` of
//! `command_line`, are the project's own. None of the others shares code with the broker, so what they
//! understand is what others will.

mod command_line;
mod documented;
mod load;
mod mosquitto;
mod mosquitto_v5;
pub(crate) mod mqttjs;
mod python;
mod rumqttc;
