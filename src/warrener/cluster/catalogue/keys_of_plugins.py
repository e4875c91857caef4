"""The catalogue's entries for keys of plugins: management, Prometheus, streams and others."""

from typing import Final

from warrener.cluster.catalogue.entries import Entry, set_env

_HTTP: Final = (
    ("compress", "Compresses answers", "", None, None),
    ("idle_timeout", "Silence after which a connection is closed", "ms", 1, 3600000),
    ("inactivity_timeout", "How long a request may take to be worked on", "ms", 1, 3600000),
    ("request_timeout", "How long a request may take to come in", "ms", 1, 3600000),
    ("shutdown_timeout", "How long a connection may take to close", "ms", 1, 3600000),
    ("max_keepalive", "Requests on one connection", "", 1, 1000000),
)

_REQUEST: Final = "requests from then on"

ENTRIES: Final[tuple[Entry, ...]] = (
    # -- management
    Entry("management.rates_mode", "How fine message rates are kept; none turns them off",
          default="basic"),
    Entry("management.load_definitions", "File of definitions loaded when the plugin starts",
          note="load_definitions, without a prefix, does the same earlier in the boot"),
    Entry("management.sample_retention_policies.$section.$interval",
          "How often samples are kept (global, basic, detailed; minute, hour, day)", "s", 1, 86400),
    Entry("management.db_cache_multiplier", "How long answers are cached, as a multiple of the "
          "time they took", "", 0, 1000),
    Entry("management.login_session_timeout", "How long a login to the page lasts", "min", 1,
          525600, live=set_env("rabbitmq_management", "login_session_timeout", "new logins")),
    Entry("management.http.max_body_size", "Largest request that is taken", "bytes", 0,
          since=(3, 10)),
    Entry("management.http_log_dir", "Where requests are logged"),
    Entry("management.path_prefix", "Path under which the page and the API are"),
    Entry("management.disable_stats", "Leaves metrics to Prometheus alone"),
    Entry("management.enable_queue_totals", "Shows queue lengths although metrics are off"),
    Entry("management.disable_basic_auth", "Takes only tokens, no passwords"),
    Entry("management.cors.allow_origins", "`none`: no other site may call the API"),
    Entry("management.cors.allow_origins.$name", "Sites that may call the API from a browser"),
    Entry("management.cors.max_age", "How long browsers remember that", "s", 0, 86400),
    Entry("management.csp.policy", "Content-Security-Policy header",
          live=set_env("rabbitmq_management", "content_security_policy", _REQUEST)),
    Entry("management.hsts.policy", "Strict-Transport-Security header",
          live=set_env("rabbitmq_management", "strict_transport_security", _REQUEST)),
    Entry("management.headers.frame_options", "X-Frame-Options header", since=(3, 11)),
    Entry("management.headers.content_type_options", "X-Content-Type-Options header",
          since=(3, 11)),
    Entry("management.headers.xss_protection", "X-XSS-Protection header", since=(3, 11)),
    Entry("management.tcp.port", "Port of the page and the API"),
    Entry("management.tcp.ip", "Address that it listens on"),
    *(Entry(f"management.tcp.{name}", what, unit, low, high)
      for name, what, unit, low, high in _HTTP),
    Entry("management_agent.disable_metrics_collector", "Collects no metrics on this node"),
    Entry("management_agent.filter_aggregated_queue_metrics_pattern",
          "Queues whose metrics are kept only in sums", since=(3, 10)),
    Entry("management.restrictions.operator_policy_changes.disabled",
          "Operator policies can't be changed by the API", since=(3, 12)),
    # -- Prometheus
    Entry("prometheus.return_per_object_metrics", "Metrics of each queue and connection",
          live=set_env("rabbitmq_prometheus", "return_per_object_metrics", "the next scrape")),
    Entry("prometheus.path", "Path of the metrics", default="/metrics"),
    Entry("prometheus.tcp.port", "Port of the metrics"),
    Entry("prometheus.tcp.ip", "Address that it listens on"),
    *(Entry(f"prometheus.tcp.{name}", what, unit, low, high)
      for name, what, unit, low, high in _HTTP),
    Entry("prometheus.filter_aggregated_queue_metrics_pattern",
          "Queues whose metrics are shown only in sums", since=(3, 10)),
    Entry("prometheus.authentication.enabled", "Asks for a login", since=(3, 13)),
    # -- streams
    Entry("stream.initial_credits", "Chunks sent before a stream publisher is slowed", low=1),
    Entry("stream.credits_required_for_unblocking", "Credits after which it goes on", low=1),
    Entry("stream.frame_max", "Largest frame of the stream protocol", "bytes", 0),
    Entry("stream.heartbeat", "Heartbeat of the stream protocol", "s", 0, 65535),
    Entry("stream.advertised_host", "Host that stream clients are told to connect to"),
    Entry("stream.advertised_port", "Port that stream clients are told to connect to"),
    # -- other protocols and plugins
    Entry("mqtt.prefetch", "Unacknowledged messages of an MQTT client", low=1, high=65535),
    Entry("mqtt.allow_anonymous", "MQTT clients need no login"),
    Entry("mqtt.vhost", "Virtual host of MQTT clients"),
    Entry("mqtt.exchange", "Exchange that MQTT clients publish to"),
    Entry("stomp.default_vhost", "Virtual host of STOMP clients"),
    Entry("stomp.implicit_connect", "STOMP clients may leave out CONNECT"),
    Entry("auth_cache.cache_ttl", "How long an answer of another backend is remembered", "ms", 1),
    Entry("auth_http.user_path", "URL that says whether a user may log in"),
    Entry("auth_http.vhost_path", "URL that says whether a user may use a virtual host"),
    Entry("auth_http.resource_path", "URL that says whether a user may use a queue or exchange"),
    Entry("auth_http.topic_path", "URL that says whether a user may use a routing key"),
    Entry("auth_ldap.servers.$server", "LDAP servers"),
    Entry("auth_ldap.user_dn_pattern", "How a user's name becomes a distinguished name"),
    Entry("auth_ldap.timeout", "How long LDAP may take", "ms", 1, default="infinity"),
    Entry("auth_ldap.use_ssl", "LDAP over TLS"),
    Entry("auth_oauth2.resource_server_id", "Who the server is, in tokens' scopes"),
    Entry("auth_oauth2.jwks_url", "Where the keys are that tokens are signed with",
          since=(3, 10)),
    Entry("trust_store.refresh_interval", "How often trusted certificates are read again", "s", 0),
)  # fmt: skip
