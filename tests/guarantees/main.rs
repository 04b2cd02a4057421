//! One promise a file, shown on both planes with real servers. Numbers are those of the product's requirements.

mod audit_names_every_call;
mod audit_records_arrive;
mod authorities_take_turns;
mod both_sides_read_the_same_message;
mod changed_tool_is_blocked;
mod config_push_is_atomic;
mod configuration_outlives_the_control_plane;
mod control_planes_agree;
mod credentials_stay_inside;
mod discovery_can_be_asked_again;
mod every_call_needs_a_key;
mod kill_switch_cuts_what_runs;
mod kill_switch_goes_through_redis;
mod kill_switch_needs_nothing;
mod kill_switch_stops_exactly_its_scope;
mod lists_show_what_may_be_called;
mod one_tenant_leaves_room_for_others;
mod proxies_prove_who_they_are;
mod rate_limits_hold;
mod refusals_say_what_to_do;
mod restarts_lose_nothing;
mod sessions_belong_to_their_client;
mod tenants_are_isolated;
mod tenants_leave_without_a_trace;
mod tokens_give_no_more_than_they_have;
mod upstreams_are_kept_in_bounds;
