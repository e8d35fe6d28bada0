//! The tables as diesel sees them.
//!
//! Written by the test `store::schema::the_tables_in_the_program_are_those_in_the_database` from a migrated database. After a
//! change of the migrations, run it and copy the file that it names.

diesel::table! {
    alert_deliveries (id) {
        id -> BigInt,
        alert_id -> BigInt,
        channel -> Text,
        first_event -> Text,
        event -> Text,
        status -> Text,
        attempt -> Integer,
        next_at -> Timestamptz,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        error -> Nullable<Text>,
        created_at -> Timestamptz,
        delivered_at -> Nullable<Timestamptz>,
        told_with -> Integer,
    }
}

diesel::table! {
    alert_silences (id) {
        id -> BigInt,
        kind -> Nullable<Text>,
        platform -> Nullable<Text>,
        alert_id -> Nullable<BigInt>,
        until -> Timestamptz,
        set_by -> Text,
        note -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    alerts (id) {
        id -> BigInt,
        fingerprint -> Text,
        kind -> Text,
        level -> Text,
        status -> Text,
        platform -> Nullable<Text>,
        count -> BigInt,
        facts -> Jsonb,
        since -> Timestamptz,
        last_seen_at -> Timestamptz,
        gone_since -> Nullable<Timestamptz>,
        told_at -> Nullable<Timestamptz>,
        told_level -> Nullable<Text>,
        told_count -> BigInt,
        times_told -> Integer,
        acknowledged_by -> Nullable<Text>,
        acknowledged_at -> Nullable<Timestamptz>,
        resolved_by -> Nullable<Text>,
        resolved_at -> Nullable<Timestamptz>,
        note -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    bulk_feed_items (feed, message) {
        feed -> BigInt,
        message -> Integer,
        listing_id -> BigInt,
        sku -> Text,
        price -> Numeric,
        currency -> Text,
        log_id -> Nullable<BigInt>,
        outcome -> Nullable<Text>,
        error -> Nullable<Jsonb>,
    }
}

diesel::table! {
    bulk_feeds (id) {
        id -> BigInt,
        platform -> Text,
        state -> Text,
        result -> Nullable<Text>,
        document_id -> Nullable<Text>,
        feed_id -> Nullable<Text>,
        report_id -> Nullable<Text>,
        items -> Integer,
        sent -> Nullable<Integer>,
        tries -> Integer,
        error_code -> Nullable<Text>,
        error -> Nullable<Text>,
        said -> Nullable<Jsonb>,
        next_at -> Timestamptz,
        created_at -> Timestamptz,
        submitted_at -> Nullable<Timestamptz>,
        ended_at -> Nullable<Timestamptz>,
        settled_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    daily_summaries (day) {
        day -> Date,
        figures -> Jsonb,
        execution_id -> Nullable<Uuid>,
        created_at -> Timestamptz,
        mail -> Text,
        attempt -> Integer,
        next_at -> Timestamptz,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        error -> Nullable<Text>,
        delivered_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    drift (id) {
        id -> BigInt,
        listing_id -> BigInt,
        execution_id -> Nullable<Uuid>,
        kind -> Text,
        believed -> Jsonb,
        shown -> Nullable<Jsonb>,
        wanted -> Nullable<Jsonb>,
        policy -> Text,
        done -> Text,
        seen_at -> Timestamptz,
        resolved_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    encrypted_credentials (platform) {
        platform -> Text,
        encrypted_key -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        key_id -> Text,
        fields -> Array<Text>,
        set_by -> Text,
        expires_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    exchange_rates (id) {
        id -> BigInt,
        source -> Text,
        day -> Date,
        rates -> Jsonb,
        status -> Text,
        largest_move_percent -> Numeric,
        fetched_at -> Timestamptz,
        decided_at -> Nullable<Timestamptz>,
        decided_by -> Nullable<Text>,
        note -> Nullable<Text>,
    }
}

diesel::table! {
    health_check_results (id) {
        id -> BigInt,
        check_timestamp -> Timestamptz,
        overall_status -> Text,
        test_results -> Jsonb,
        failed_tests -> Integer,
        execution_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    holds (id) {
        id -> BigInt,
        product_id -> BigInt,
        watch_id -> Nullable<BigInt>,
        listing_id -> Nullable<BigInt>,
        reason -> Text,
        detail -> Jsonb,
        proposed_stock -> Nullable<Integer>,
        proposed_price -> Nullable<Numeric>,
        currency -> Text,
        base_version -> BigInt,
        fetched_at -> Nullable<Timestamptz>,
        meanwhile -> Text,
        status -> Text,
        default_action -> Text,
        deadline -> Timestamptz,
        decided_by -> Nullable<Text>,
        decided_at -> Nullable<Timestamptz>,
        note -> Nullable<Text>,
        created_at -> Timestamptz,
    }
}

diesel::table! {
    inventory_errors (id) {
        id -> BigInt,
        execution_id -> Nullable<Uuid>,
        product_id -> Nullable<BigInt>,
        error_type -> Text,
        error_code -> Nullable<Text>,
        error_message -> Text,
        stack_trace -> Nullable<Text>,
        product_title -> Nullable<Text>,
        source_url -> Nullable<Text>,
        platform -> Nullable<Text>,
        severity -> Text,
        resolved -> Bool,
        resolution_notes -> Nullable<Text>,
        resolved_at -> Nullable<Timestamptz>,
        resolved_by -> Nullable<Text>,
        created_at -> Timestamptz,
        fingerprint -> Text,
        count -> BigInt,
        last_seen_at -> Timestamptz,
        details -> Nullable<Jsonb>,
    }
}

diesel::table! {
    inventory_execution_logs (id) {
        id -> BigInt,
        execution_id -> Uuid,
        process_type -> Text,
        execution_start -> Timestamptz,
        execution_end -> Nullable<Timestamptz>,
        status -> Text,
        worker_id -> Nullable<Text>,
        total_products -> Integer,
        processed_products -> Integer,
        updated_products -> Integer,
        error_products -> Integer,
        details -> Nullable<Jsonb>,
        error_message -> Nullable<Text>,
        created_at -> Timestamptz,
        heartbeat_at -> Timestamptz,
        started_by -> Text,
        due_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    inventory_management (id) {
        id -> BigInt,
        product_id -> BigInt,
        source_platform -> Text,
        source_url -> Text,
        source_product_id -> Nullable<Text>,
        current_stock -> Integer,
        current_price -> Nullable<Numeric>,
        title_hash -> Nullable<Text>,
        url_status -> Text,
        last_verified_at -> Nullable<Timestamptz>,
        monitoring_enabled -> Bool,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        title -> Text,
        seller_id -> Nullable<Text>,
        currency -> Text,
        cost_rule -> Text,
        ends_at -> Nullable<Timestamptz>,
        value_at_risk -> Float,
        rate_shape -> Float,
        rate_hours -> Float,
        gone_since -> Nullable<Timestamptz>,
        held_reason -> Nullable<Text>,
        version -> BigInt,
    }
}

diesel::table! {
    leases (name) {
        name -> Text,
        shard -> Nullable<SmallInt>,
        owner -> Nullable<Uuid>,
        epoch -> BigInt,
        since -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    listing_platforms (id) {
        id -> BigInt,
        product_id -> BigInt,
        platform -> Text,
        platform_product_id -> Nullable<Text>,
        listing_url -> Nullable<Text>,
        listing_status -> Text,
        current_quantity -> Integer,
        listed_price -> Nullable<Numeric>,
        auto_sync_enabled -> Bool,
        last_synced_at -> Nullable<Timestamptz>,
        sync_queue_status -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        sku -> Text,
        currency -> Text,
        rules -> Nullable<Jsonb>,
        wanted_quantity -> Nullable<Integer>,
        wanted_price -> Nullable<Numeric>,
        wanted_status -> Nullable<Text>,
        wanted_cause -> Nullable<Jsonb>,
        wanted_at -> Nullable<Timestamptz>,
        wanted_version -> BigInt,
        synced_version -> BigInt,
        pushing_version -> Nullable<BigInt>,
        push_deadline -> Nullable<Timestamptz>,
        needs_read_back -> Bool,
        held_reason -> Nullable<Text>,
        last_sync_log_id -> Nullable<BigInt>,
        day_price -> Nullable<Numeric>,
        day_price_on -> Nullable<Date>,
        revisions_day -> Nullable<Date>,
        revisions -> Integer,
    }
}

diesel::table! {
    listing_reads (listing_id) {
        listing_id -> BigInt,
        asked_at -> Nullable<Timestamptz>,
        look_at -> Nullable<Timestamptz>,
        execution_id -> Nullable<Uuid>,
        read_at -> Nullable<Timestamptz>,
        suspect -> Nullable<Jsonb>,
        repairs -> Integer,
        adopted -> Nullable<Jsonb>,
    }
}

diesel::table! {
    nodes (boot) {
        boot -> Uuid,
        name -> Text,
        version -> Text,
        host -> Text,
        place -> Text,
        pid -> Integer,
        can -> Array<Text>,
        started_at -> Timestamptz,
        heartbeat_at -> Timestamptz,
        until -> Timestamptz,
        clock_ahead_ms -> BigInt,
        draining -> Bool,
        left_at -> Nullable<Timestamptz>,
        dead_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    oauth_tokens (platform) {
        platform -> Text,
        encrypted_tokens -> Text,
        key_id -> Text,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    platform_state (platform) {
        platform -> Text,
        paused -> Bool,
        paused_by -> Nullable<Text>,
        paused_at -> Nullable<Timestamptz>,
        gate -> Nullable<Jsonb>,
        budget_day -> Nullable<Date>,
        budget_used -> BigInt,
        updated_at -> Timestamptz,
        switches -> BigInt,
        resets -> BigInt,
    }
}

diesel::table! {
    processing_queue (id) {
        id -> BigInt,
        queue_name -> Text,
        product_id -> Nullable<BigInt>,
        status -> Text,
        priority -> SmallInt,
        retry_count -> Integer,
        max_retries -> Integer,
        payload -> Jsonb,
        result -> Nullable<Jsonb>,
        error_message -> Nullable<Text>,
        scheduled_at -> Timestamptz,
        started_at -> Nullable<Timestamptz>,
        completed_at -> Nullable<Timestamptz>,
        created_at -> Timestamptz,
        listing_id -> Nullable<BigInt>,
        destination -> Nullable<Text>,
        attempt -> BigInt,
        lease_token -> Nullable<Uuid>,
        lease_until -> Nullable<Timestamptz>,
        worker_id -> Nullable<Text>,
        unique_key -> Nullable<Text>,
        crash_count -> Integer,
        crashed_at -> Array<Timestamptz>,
        execution_id -> Nullable<Uuid>,
    }
}

diesel::table! {
    queue_orders (queue_name) {
        queue_name -> Text,
        workers_min -> Nullable<SmallInt>,
        workers_max -> Nullable<SmallInt>,
        paused -> Bool,
        changed_at -> Timestamptz,
        changed_by -> Text,
    }
}

diesel::table! {
    reconcile_runs (execution_id, platform) {
        execution_id -> Uuid,
        platform -> Text,
        began_at -> Timestamptz,
        marked -> Integer,
        looked -> Integer,
        differed -> Integer,
        drifted -> Integer,
        failed -> Integer,
        stopped -> Bool,
    }
}

diesel::table! {
    registrations (id) {
        id -> BigInt,
        product_id -> BigInt,
        platform -> Text,
        sku -> Text,
        content -> Jsonb,
        auto_sync -> Bool,
        state -> Text,
        offer_sent -> Bool,
        offer_id -> Nullable<Text>,
        quantity -> Nullable<Integer>,
        price -> Nullable<Numeric>,
        currency -> Nullable<Text>,
        listing_id -> Nullable<BigInt>,
        error_code -> Nullable<Text>,
        error -> Nullable<Text>,
        tries -> Integer,
        worker -> Nullable<Uuid>,
        requested_by -> Text,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        published_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    schedules (name) {
        name -> Text,
        expression -> Text,
        next_fire_at -> Nullable<Timestamptz>,
        last_due_at -> Nullable<Timestamptz>,
        last_fired_at -> Nullable<Timestamptz>,
        last_execution_id -> Nullable<Uuid>,
        last_skipped_at -> Nullable<Timestamptz>,
        last_skipped_why -> Nullable<Text>,
        paused -> Bool,
        paused_by -> Nullable<Text>,
        paused_at -> Nullable<Timestamptz>,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    stock_history (id, created_at) {
        id -> BigInt,
        product_id -> BigInt,
        previous_stock -> Nullable<Integer>,
        new_stock -> Integer,
        previous_price -> Nullable<Numeric>,
        new_price -> Nullable<Numeric>,
        change_type -> Text,
        change_source -> Text,
        created_at -> Timestamptz,
        watch_id -> BigInt,
        version -> BigInt,
        currency -> Text,
        explained -> Bool,
        fetched_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    sync_log (id) {
        id -> BigInt,
        listing_id -> BigInt,
        platform -> Text,
        wanted_version -> BigInt,
        old_quantity -> Nullable<Integer>,
        new_quantity -> Nullable<Integer>,
        old_price -> Nullable<Numeric>,
        new_price -> Nullable<Numeric>,
        currency -> Text,
        kind -> Text,
        cause -> Jsonb,
        outcome -> Text,
        error -> Nullable<Jsonb>,
        fetched_at -> Nullable<Timestamptz>,
        sent_at -> Timestamptz,
        answered_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    yahoo_scraped_products (id) {
        id -> BigInt,
        title -> Text,
        source_url -> Text,
        image_urls -> Jsonb,
        category -> Nullable<Text>,
        condition -> Nullable<Text>,
        weight_g -> Nullable<Integer>,
        cost -> Nullable<Numeric>,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(alert_deliveries -> alerts (alert_id));
diesel::joinable!(alert_silences -> alerts (alert_id));
diesel::joinable!(bulk_feed_items -> bulk_feeds (feed));
diesel::joinable!(bulk_feed_items -> listing_platforms (listing_id));
diesel::joinable!(bulk_feed_items -> sync_log (log_id));
diesel::joinable!(drift -> listing_platforms (listing_id));
diesel::joinable!(holds -> listing_platforms (listing_id));
diesel::joinable!(holds -> inventory_management (watch_id));
diesel::joinable!(inventory_management -> yahoo_scraped_products (product_id));
diesel::joinable!(listing_platforms -> yahoo_scraped_products (product_id));
diesel::joinable!(listing_reads -> listing_platforms (listing_id));
diesel::joinable!(processing_queue -> listing_platforms (listing_id));
diesel::joinable!(registrations -> listing_platforms (listing_id));
diesel::joinable!(registrations -> yahoo_scraped_products (product_id));

diesel::allow_tables_to_appear_in_same_query!(
    alert_deliveries,
    alert_silences,
    alerts,
    bulk_feed_items,
    bulk_feeds,
    daily_summaries,
    drift,
    encrypted_credentials,
    exchange_rates,
    health_check_results,
    holds,
    inventory_errors,
    inventory_execution_logs,
    inventory_management,
    leases,
    listing_platforms,
    listing_reads,
    nodes,
    oauth_tokens,
    platform_state,
    processing_queue,
    queue_orders,
    reconcile_runs,
    registrations,
    schedules,
    stock_history,
    sync_log,
    yahoo_scraped_products,
);
