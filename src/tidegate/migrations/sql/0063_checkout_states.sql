-- Staff list orders of one state, the newest first. Those that wait for their payment are few, and `orders_unpaid` has
-- them: without them an order costs one entry here, when it is paid. An index on all partitions cannot be made
-- concurrently; writes wait while it is made, about a second per million orders.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX orders_state ON checkout.orders (state, id DESC) WHERE state <> 'awaiting_payment';
