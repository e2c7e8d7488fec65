//! What SIGHUP replaces as a whole: who may connect, who may do what, and with which keys.
//!
//! A configuration comes in, every file that it names is read; questions about one client or one key are
//! answered. Never changed: who is enrolled at run time is put in by making another one of it.

use crate::audit::{self, Declared, Event};
use crate::auth::acl::Permissions;
use crate::auth::{Auth, Identity, Senders};
use crate::egress::SubscriberKeys;
use crate::enrolment::{Book, Configured};
use crate::error::StartError;
use crate::identity;
use crate::ingress::Ingress;
use crate::keys;
use crate::listener::tls;
use crate::now::Now;
use crate::secrets::Secrets;
use sealmq_config::Config;
use sealmq_config::auth::AclRule;
use sealmq_config::listener::Listener;
use sealmq_crypto::{Keyring, SenderKey};
use std::sync::Arc;

/// What SIGHUP replaces, as a whole: who may do what, and with which keys. Whoever is enrolled at run time is
/// in it as well, once it is in force.
pub(crate) struct Rulebook {
    pub(crate) edition: u64,
    /// Who may connect.
    pub(crate) auth: Auth,
    /// What may be routed.
    pub(crate) ingress: Ingress,
    /// What the broker stamps with.
    pub(crate) identity: Arc<SenderKey>,
    /// For whom it seals.
    pub(crate) subscriber_keys: Arc<SubscriberKeys>,
    /// The keys of the configuration alone.
    pub(crate) configured: Configured,
    acl: Vec<AclRule>,
    /// Who may see the audit.
    auditors: Vec<String>,
    declared: Arc<Declared>,
    tls: Vec<Option<Arc<rustls::ServerConfig>>>,
}

impl Rulebook {
    /// Reads every file that the configuration names. Listeners stay as they run: of those in the
    /// configuration, one with the same address may bring a new certificate.
    pub(crate) fn load(config: &Config, running: &[Listener]) -> Result<Self, StartError> {
        let secrets = Secrets::of(config)?;
        Self::with_identity(config, running, identity::load(config, &secrets)?, &secrets)
    }

    /// The same, of a broker that has no files.
    #[cfg(test)]
    pub(crate) fn for_tests(config: &Config) -> Self {
        let identity = SenderKey::generate(config.identity.id.as_str()).unwrap();
        Self::with_identity(config, &[], identity, &Secrets::in_plain()).unwrap()
    }

    fn with_identity(
        config: &Config,
        running: &[Listener],
        identity: SenderKey,
        secrets: &Secrets,
    ) -> Result<Self, StartError> {
        let tls = running.iter().enumerate().map(|(place, running)| {
            let same = |listener: &&Listener| listener.bind == running.bind && listener.tls.is_some();
            let there = config.listeners.get(place).filter(same);
            let now = there.or_else(|| config.listeners.iter().find(same)).unwrap_or(running);
            running.tls.as_ref().and(now.tls.as_ref()).map(tls::server_config).transpose()
        });
        let configured = keys::configured(config)?;
        Ok(Self {
            edition: 0,
            auth: Auth::load(&config.auth)?,
            ingress: Ingress::new(
                config.policies.clone(),
                keys::opener_of(config, configured.keyring()),
                configured.binds(),
            ),
            identity: Arc::new(identity),
            subscriber_keys: Arc::new(SubscriberKeys::load(config, secrets)?),
            configured,
            acl: config.acl.clone(),
            auditors: config.audit.users.clone(),
            declared: Arc::new(Declared::of(config)),
            tls: tls.collect::<Result<_, _>>()?,
        })
    }

    /// The same rules with the keys of those who are enrolled now.
    pub(crate) fn with_keys_of(&self, book: &Book) -> Self {
        Self {
            edition: self.edition,
            auth: self.auth.clone(),
            ingress: self.ingress.with_keys(book.keyring(), book.binds()),
            identity: self.identity.clone(),
            subscriber_keys: self.subscriber_keys.clone(),
            configured: self.configured.clone(),
            acl: self.acl.clone(),
            auditors: self.auditors.clone(),
            declared: self.declared.clone(),
            tls: self.tls.clone(),
        }
    }

    /// What one client may do.
    pub(crate) fn permissions(&self, client_id: &str, user: Option<&str>) -> Permissions {
        let permissions = Permissions::of(&self.acl, client_id, user);
        if self.ingress.binds() { permissions.of_client(client_id, user) } else { permissions }
    }

    /// What the configuration says of keys.
    pub(crate) fn declared(&self) -> &Declared {
        &self.declared
    }

    /// What changed in the keys of the configuration since other rules were in force; the book has taken up these.
    pub(crate) fn key_changes(&self, since: &Self, book: &Book) -> Vec<Event> {
        let (before, now) = (since.configured.keyring(), self.configured.keyring());
        let mut events = audit::changes((&since.declared, &before), (&self.declared, &now), book);
        events.extend(audit::identity_change(&since.identity, &self.identity));
        events.extend(audit::subscriber_key_changes(&since.subscriber_keys, &self.subscriber_keys));
        events
    }

    /// Whether somebody may see the audit, on a secure connection.
    pub(crate) fn is_auditor(&self, identity: &Identity) -> bool {
        let user = identity.proven_user();
        user.is_some_and(|user| self.auditors.iter().any(|auditor| *auditor == **user))
    }

    /// Whether anybody may see the audit.
    pub(crate) fn has_auditors(&self) -> bool {
        !self.auditors.is_empty()
    }

    /// Whether a client that was let in may stay.
    pub(crate) fn still_admits(&self, identity: &Identity, now: Now) -> bool {
        self.auth.still_admits(identity, self.senders(now))
    }

    /// Who is enrolled.
    pub(crate) fn senders(&self, now: Now) -> Senders<'_> {
        Senders { keyring: self.keyring(), now: now.unix_s }
    }

    /// All keys.
    pub(crate) fn keyring(&self) -> &Keyring {
        self.ingress.opener().keyring()
    }

    /// The certificate of a listener, by its place in the configuration that was started with.
    pub(crate) fn tls(&self, listener: usize) -> Option<&Arc<rustls::ServerConfig>> {
        self.tls.get(listener)?.as_ref()
    }
}
