DROP TABLE platform_state, inventory_errors, inventory_execution_logs, holds, processing_queue CASCADE;
DROP FUNCTION processing_queue_added, processing_queue_ready;
ALTER TABLE listing_platforms DROP CONSTRAINT listing_platforms_last_sync_log_id_fkey;
DROP TABLE sync_log, listing_platforms, stock_history, inventory_management, yahoo_scraped_products;
