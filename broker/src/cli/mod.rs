//! tmp
pub mod greeting { pub fn greeting<T>(_: &sealmq_config::Config, _: Option<&std::path::Path>, _: &[T]) -> String { String::new() } }
/// t
#[derive(Default)]
pub struct ServeOptions { /// c
pub config_file: Option<std::path::PathBuf>, /// l
pub listen: Option<std::net::SocketAddr>, /// d
pub data_dir: Option<std::path::PathBuf> }
impl ServeOptions {
    /// l
    pub fn load(&self) -> Result<sealmq_config::Config, sealmq_config::ConfigError> {
        let mut c = sealmq_config::Config::load(self.config_file.as_deref(), std::env::vars())?;
        if let Some(d) = &self.data_dir { c.data_dir = d.clone(); }
        if let Some(bind) = self.listen { c.listeners = vec![sealmq_config::listener::Listener { bind, tls: None }]; }
        Ok(c)
    }
    /// d
    pub fn is_development(&self) -> bool { self.config_file.is_none() && self.listen.is_none() }
}
/// r
pub fn run(f: impl FnOnce(ServeOptions) -> anyhow::Result<()>) -> std::process::ExitCode {
    let mut args = std::env::args().skip(1);
    let mut o = ServeOptions::default();
    while let Some(a) = args.next() {
        let v = args.next().unwrap_or_default();
        if a == "--listen" { o.listen = v.parse().ok(); }
        if a == "--config" { o.config_file = Some(v.clone().into()); }
        if a == "--data-dir" { o.data_dir = Some(v.clone().into()); }
    }
    f(o).unwrap();
    std::process::ExitCode::SUCCESS
}
