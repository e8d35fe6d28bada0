//! Paths, and who answers them.

use super::credentials;
use super::drift;
use super::envelope::ApiError;
use super::handlers as of;
use super::listing;
use super::rates;
use super::schedule;
use super::told;
use crate::ops::OpsError;
use actix_web::web::{self, ServiceConfig};

/// Adds every route.
pub fn configure(config: &mut ServiceConfig) {
    config
        .app_data(web::PathConfig::default().error_handler(|error, request| {
            let place = format!("path `{}`", request.path());
            ApiError(OpsError::invalid(
                place,
                "a number where one stands for a row",
                &error.to_string(),
            ))
            .into()
        }))
        .route("/metrics", web::get().to(of::metrics))
        .service(
            web::scope("/v1")
                .route("/status", web::get().to(of::status))
                .route("/doctor", web::get().to(of::doctor))
                .route("/tree", web::get().to(of::tree))
                .route("/nodes", web::get().to(of::nodes))
                .route("/nodes/{verb:drain|undrain}", web::post().to(of::drain))
                .route("/delay", web::get().to(of::delay))
                .route("/syncs", web::get().to(of::syncs))
                .route("/products", web::get().to(of::products))
                .route("/products", web::post().to(of::add_product))
                .route("/products/import", web::post().to(of::import))
                .route("/products/import/try", web::post().to(of::try_import))
                .route("/products/import", web::get().to(of::import_progress))
                .route(
                    "/products/{verb:pause|resume|check|remove}",
                    web::post().to(of::act_on_products),
                )
                .route("/products/{id}", web::get().to(of::product))
                .route("/listings", web::get().to(of::listings))
                .route("/listings", web::post().to(of::link))
                .route("/listings/push", web::post().to(of::push))
                .route("/listings/drift", web::get().to(drift::list))
                .route("/listings/bulk", web::get().to(listing::bulk))
                .route("/listings/read", web::post().to(drift::read))
                .route("/listings/create", web::post().to(listing::create))
                .route("/listings/create/try", web::post().to(listing::try_create))
                .route("/registrations", web::get().to(listing::registrations))
                .route("/registrations/retry", web::post().to(listing::retry))
                .route("/categories", web::get().to(listing::categories))
                .route(
                    "/listings/{verb:pause|resume}",
                    web::post().to(of::switch_listings),
                )
                .route("/listings/{id}", web::get().to(of::listing))
                .route("/listings/{id}/explain", web::get().to(of::explain))
                .route("/listings/{id}/rules", web::get().to(of::rules))
                .route("/listings/{id}/rules", web::post().to(of::change_rules))
                .route("/plan", web::get().to(of::plan))
                .route("/holds", web::get().to(of::holds))
                .route("/holds/{verb:accept|reject}", web::post().to(of::decide))
                .route("/holds/edit", web::post().to(of::edit_hold))
                .route("/rates", web::get().to(rates::list))
                .route("/rates/{verb:accept|refuse}", web::post().to(rates::decide))
                .route("/platforms", web::get().to(of::platforms))
                .route(
                    "/platforms/{name}/{verb:pause|resume|reset}",
                    web::post().to(of::switch_platform),
                )
                .route("/platforms/{name}/quotas", web::get().to(listing::quotas))
                .route("/credentials", web::get().to(credentials::list))
                .route("/credentials/rotate", web::post().to(credentials::rotate))
                .route("/credentials/{platform}", web::post().to(credentials::set))
                .route(
                    "/credentials/{platform}/remove",
                    web::post().to(credentials::remove),
                )
                .route(
                    "/credentials/{platform}/consent",
                    web::post().to(credentials::consent),
                )
                .route(
                    "/credentials/{platform}/authorize",
                    web::post().to(credentials::authorize),
                )
                .route("/queue", web::get().to(of::queue))
                .route(
                    "/queue/{verb:retry|discard|priority}",
                    web::post().to(of::mend_jobs),
                )
                .route("/queue/edit", web::post().to(of::edit_job))
                .route("/queues", web::get().to(of::queues))
                .route("/queues/{queue}/workers", web::post().to(of::order_workers))
                .route(
                    "/queues/{queue}/{verb:pause|resume}",
                    web::post().to(of::switch_queue),
                )
                .route("/queue/{id}", web::get().to(of::job))
                .route("/alerts", web::get().to(told::alerts))
                .route("/alerts/silences", web::get().to(told::silences))
                .route("/alerts/channels", web::get().to(told::channels))
                .route("/alerts/silence", web::post().to(told::silence))
                .route("/alerts/unsilence", web::post().to(told::unsilence))
                .route("/alerts/test", web::post().to(told::test))
                .route("/alerts/{verb:ack|resolve}", web::post().to(told::decide))
                .route("/alerts/{id}", web::get().to(told::alert))
                .route("/schedules", web::get().to(schedule::list))
                .route("/schedules/{name}/run", web::post().to(schedule::run))
                .route("/schedules/{verb:pause|resume}", web::post().to(schedule::switch))
                .route("/executions", web::get().to(schedule::executions))
                .route("/executions/{which}", web::get().to(schedule::execution))
                .route("/health", web::get().to(schedule::health))
                .route("/summary", web::get().to(schedule::summary))
                .route("/errors", web::get().to(of::errors))
                .route("/errors/resolve", web::post().to(of::resolve_errors))
                .route("/errors/{id}", web::get().to(of::error))
                .route("/{verb:stop-all|resume-all}", web::post().to(of::stop_all))
                .route("/reload", web::post().to(of::reload))
                .route("/fault", web::post().to(of::fault)),
        )
        .default_service(web::to(of::unknown));
}
