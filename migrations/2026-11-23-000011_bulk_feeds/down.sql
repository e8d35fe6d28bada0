DROP TABLE bulk_feed_items;
DROP TABLE bulk_feeds;
