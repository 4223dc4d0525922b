# What scripts/lab has laid out in lab/ are stages that a student writes. Each builds build/release/lab/04/04_generators by
# the target lab_04, and only if it is asked for: a lab that does not compile must not stop other builds. The program has
# the name of the stage, by which the suites know what to ask it for. No warning is an error.
file(GLOB labs CONFIGURE_DEPENDS RELATIVE ${PROJECT_SOURCE_DIR} ${PROJECT_SOURCE_DIR}/lab/*/*.cpp)
foreach(source ${labs})
  if(NOT source MATCHES "^lab/([0-9]+[a-z]?)/([0-9]+[a-z]?_[0-9a-z_]+)\\.cpp$")
    continue()  # for example lab/04.old-1
  endif()
  set(number ${CMAKE_MATCH_1})
  set(stage ${CMAKE_MATCH_2})
  if(NOT TARGET ${stage})
    continue()
  endif()
  file(MAKE_DIRECTORY ${PROJECT_BINARY_DIR}/lab/${number})
  file(COPY_FILE ${CMAKE_CURRENT_BINARY_DIR}/stages.tsv ${PROJECT_BINARY_DIR}/lab/${number}/stages.tsv ONLY_IF_DIFFERENT)
  get_target_property(libraries ${stage} LINK_LIBRARIES)
  add_executable(lab_${number} EXCLUDE_FROM_ALL ${PROJECT_SOURCE_DIR}/${source} ${CMAKE_CURRENT_BINARY_DIR}/${stage}.about.cpp)
  target_link_libraries(lab_${number} PRIVATE ${libraries})
  target_compile_options(lab_${number} PRIVATE -Wno-error)
  set_target_properties(lab_${number} PROPERTIES OUTPUT_NAME ${stage}
    RUNTIME_OUTPUT_DIRECTORY ${PROJECT_BINARY_DIR}/lab/${number})
endforeach()
