use errors::ErrorCode;

use super::*;

#[test]
fn database_errors_are_sorted_by_what_to_do() {
    assert!(matches!(StoreError::from(sqlx::Error::RowNotFound), StoreError::NotFound));
    assert!(matches!(StoreError::from(sqlx::Error::PoolTimedOut), StoreError::Unavailable(_)));
    // What a connection that is cut in the middle of a message leaves.
    let cut = sqlx::Error::Protocol("odd".to_owned());
    assert_eq!(StoreError::from(cut).code(), ErrorCode::StoreUnavailable);
    let wrong = sqlx::Error::ColumnNotFound("nothing".to_owned());
    assert_eq!(StoreError::from(wrong).code(), ErrorCode::Internal);
}
