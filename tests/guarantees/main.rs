//! One promise a file, shown on both planes with real servers. Numbers are those of the product's requirements.

mod audit_names_every_call;
mod changed_tool_is_blocked;
mod config_push_is_atomic;
mod credentials_stay_inside;
mod every_call_needs_a_key;
mod lists_show_what_may_be_called;
mod proxies_prove_who_they_are;
mod rate_limits_hold;
mod refusals_say_what_to_do;
mod restarts_lose_nothing;
mod sessions_belong_to_their_client;
mod tenants_are_isolated;
mod upstreams_are_kept_in_bounds;
