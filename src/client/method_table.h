/* The RPCs that the client speaks: name, path, response, whether it only reads.
 * Included several times; so no include guard. */
X(kv_range, "/etcdserverpb.KV/Range", etcdserverpb__range_response, true)
X(kv_range_stream, "/etcdserverpb.KV/RangeStream", etcdserverpb__range_stream_response, true)
X(kv_put, "/etcdserverpb.KV/Put", etcdserverpb__put_response, false)
X(kv_delete_range, "/etcdserverpb.KV/DeleteRange", etcdserverpb__delete_range_response, false)
X(kv_txn, "/etcdserverpb.KV/Txn", etcdserverpb__txn_response, false)
X(kv_compact, "/etcdserverpb.KV/Compact", etcdserverpb__compaction_response, false)
X(watch_watch, "/etcdserverpb.Watch/Watch", etcdserverpb__watch_response, true)
X(lease_grant, "/etcdserverpb.Lease/LeaseGrant", etcdserverpb__lease_grant_response, false)
X(lease_revoke, "/etcdserverpb.Lease/LeaseRevoke", etcdserverpb__lease_revoke_response, false)
X(lease_keep_alive, "/etcdserverpb.Lease/LeaseKeepAlive", etcdserverpb__lease_keep_alive_response,
  true)
X(lease_time_to_live, "/etcdserverpb.Lease/LeaseTimeToLive",
  etcdserverpb__lease_time_to_live_response, true)
X(lease_leases, "/etcdserverpb.Lease/LeaseLeases", etcdserverpb__lease_leases_response, true)
X(cluster_member_add, "/etcdserverpb.Cluster/MemberAdd", etcdserverpb__member_add_response, false)
X(cluster_member_remove, "/etcdserverpb.Cluster/MemberRemove", etcdserverpb__member_remove_response,
  false)
X(cluster_member_update, "/etcdserverpb.Cluster/MemberUpdate", etcdserverpb__member_update_response,
  false)
X(cluster_member_promote, "/etcdserverpb.Cluster/MemberPromote",
  etcdserverpb__member_promote_response, false)
X(cluster_member_list, "/etcdserverpb.Cluster/MemberList", etcdserverpb__member_list_response, true)
X(maintenance_status, "/etcdserverpb.Maintenance/Status", etcdserverpb__status_response, true)
X(maintenance_hash_kv, "/etcdserverpb.Maintenance/HashKV", etcdserverpb__hash_kvresponse, true)
X(maintenance_alarm, "/etcdserverpb.Maintenance/Alarm", etcdserverpb__alarm_response, false)
X(maintenance_defragment, "/etcdserverpb.Maintenance/Defragment", etcdserverpb__defragment_response,
  false)
X(maintenance_move_leader, "/etcdserverpb.Maintenance/MoveLeader",
  etcdserverpb__move_leader_response, false)
X(maintenance_downgrade, "/etcdserverpb.Maintenance/Downgrade", etcdserverpb__downgrade_response,
  false)
X(auth_enable, "/etcdserverpb.Auth/AuthEnable", etcdserverpb__auth_enable_response, false)
X(auth_disable, "/etcdserverpb.Auth/AuthDisable", etcdserverpb__auth_disable_response, false)
X(auth_status, "/etcdserverpb.Auth/AuthStatus", etcdserverpb__auth_status_response, true)
X(auth_user_add, "/etcdserverpb.Auth/UserAdd", etcdserverpb__auth_user_add_response, false)
X(auth_user_get, "/etcdserverpb.Auth/UserGet", etcdserverpb__auth_user_get_response, true)
X(auth_user_list, "/etcdserverpb.Auth/UserList", etcdserverpb__auth_user_list_response, true)
X(auth_user_delete, "/etcdserverpb.Auth/UserDelete", etcdserverpb__auth_user_delete_response, false)
X(auth_user_change_password, "/etcdserverpb.Auth/UserChangePassword",
  etcdserverpb__auth_user_change_password_response, false)
X(maintenance_snapshot, "/etcdserverpb.Maintenance/Snapshot", etcdserverpb__snapshot_response, true)
X(auth_user_grant_role, "/etcdserverpb.Auth/UserGrantRole",
  etcdserverpb__auth_user_grant_role_response, false)
X(auth_user_revoke_role, "/etcdserverpb.Auth/UserRevokeRole",
  etcdserverpb__auth_user_revoke_role_response, false)
X(auth_role_add, "/etcdserverpb.Auth/RoleAdd", etcdserverpb__auth_role_add_response, false)
X(auth_role_get, "/etcdserverpb.Auth/RoleGet", etcdserverpb__auth_role_get_response, true)
X(auth_role_list, "/etcdserverpb.Auth/RoleList", etcdserverpb__auth_role_list_response, true)
X(auth_role_delete, "/etcdserverpb.Auth/RoleDelete", etcdserverpb__auth_role_delete_response, false)
X(auth_role_grant_permission, "/etcdserverpb.Auth/RoleGrantPermission",
  etcdserverpb__auth_role_grant_permission_response, false)
X(auth_role_revoke_permission, "/etcdserverpb.Auth/RoleRevokePermission",
  etcdserverpb__auth_role_revoke_permission_response, false)
