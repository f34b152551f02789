-- get_parcel: by primary key.
SELECT body FROM parcels WHERE parcel_id = $1
