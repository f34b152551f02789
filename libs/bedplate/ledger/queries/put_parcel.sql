-- put_parcel: a body too large for one message.
INSERT INTO parcels (parcel_id, body) VALUES ($1, $2)
