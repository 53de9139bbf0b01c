//! From the terms to clients: how a server is reached, with which certificate authorities, by which proxy and within which bounds.

use super::Client;
use crate::fault::Fault;
use crate::host::{Host, certificates};
use crate::login::Logins;
use crate::reach::{Own, Reach};
use crate::resolve::Names;
use crate::transport::{Arrived, CONNECT, IDLE, Tcp, Watch};
use casemate_fetch_wire::{Endpoint, Step};
use std::sync::Arc;
use ureq::tls::{Certificate, RootCerts, TlsConfig};
use ureq::unversioned::transport::{ConnectProxyConnector, Connector, RustlsConnector};
use ureq::{Agent, Proxy};

/// The most bytes of an answer's header.
const MAX_HEADER: usize = 64 * 1024;
/// How much is read at once.
const INPUT: usize = 128 * 1024;
const OUTPUT: usize = 32 * 1024;

/// Makes clients. Those of one server, for repositories with different logins, share its connections and certificate authorities.
#[derive(Debug)]
pub struct Clients<'a> {
    host: &'a Host,
    names: Arc<Names>,
    watch: &'a Arc<Watch>,
    /// How each server is reached; nothing in here is secret.
    agents: Vec<(Endpoint, Agent)>,
}

impl<'a> Clients<'a> {
    /// None yet.
    pub fn new(host: &'a Host, watch: &'a Arc<Watch>) -> Self {
        Self { host, names: Arc::new(host.names.clone()), watch, agents: Vec::new() }
    }

    /// A client of this server.
    pub fn client(&mut self, mut endpoint: Endpoint) -> Result<Client, Fault> {
        let reached = Endpoint { login: None, prefix: String::new(), ..endpoint.clone() };
        endpoint.authorities = Vec::new();
        let known = self.agents.iter().find(|(known, _)| *known == reached);
        let agent = match known {
            Some((_, agent)) => agent.clone(),
            None => {
                let agent = self.agent(&reached)?;
                self.agents.push((reached, agent.clone()));
                agent
            }
        };
        Ok(Client { endpoint, agent, watch: Arc::clone(self.watch), logins: Logins::default() })
    }

    fn agent(&self, endpoint: &Endpoint) -> Result<Agent, Fault> {
        let proxy = match &endpoint.proxy {
            Some(proxy) => {
                let bad = |_| Fault::stop(Step::Read, "the proxy is no URL of one");
                Some(Proxy::new(proxy).map_err(bad)?)
            }
            None => None,
        };
        let own = certificates(&endpoint.authorities);
        if own.is_empty() && !endpoint.authorities.is_empty() {
            return Err(Fault::stop(Step::Read, format!("the ca of {} has no certificate in it", endpoint.host)));
        }
        let roots: Vec<Certificate<'static>> = self.host.authorities.iter().cloned().chain(own).collect();
        let tls = TlsConfig::builder()
            .root_certs(RootCerts::Specific(Arc::new(roots)))
            .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .build();
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("casemate/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .max_response_header_size(MAX_HEADER)
            .input_buffer_size(INPUT)
            .output_buffer_size(OUTPUT)
            .max_idle_connections(2)
            .timeout_connect(Some(CONNECT))
            .timeout_send_request(Some(IDLE))
            .timeout_recv_response(Some(IDLE))
            .proxy(proxy.clone())
            .tls_config(tls)
            .build();
        let own = Own::new(endpoint.host.clone());
        let connector =
            ().chain(ConnectProxyConnector::default())
                .chain(Tcp(Arc::clone(self.watch), Arc::clone(&own)))
                .chain(RustlsConnector::default())
                .chain(Arrived(Arc::clone(self.watch), Arc::clone(&own)));
        let proxy = proxy.map(|proxy| proxy.host().to_owned());
        let reach = Reach::new(Arc::clone(&self.names), own, proxy);
        Ok(Agent::with_parts(config, connector, reach))
    }
}
